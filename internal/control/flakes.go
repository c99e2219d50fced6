package control

// Flakes asks how often verdicts flipped while the code stayed as it was.
var Flakes = Method[struct{}, FlakesAnswer]{"flakes"}

// FlakesAnswer lists checks, the least reliable first.
type FlakesAnswer struct {
	Checks []Flake `json:"checks"`
}

// Flake is how reliable one check, or one group of it, was.
type Flake struct {
	Check     string  `json:"check"`
	File      string  `json:"file,omitempty"`
	Group     string  `json:"group,omitempty"`
	Runs      int     `json:"runs"`                 // that were judged
	Chances   int     `json:"chances"`              // runs whose builds and exercise were those of the run before
	Flips     int     `json:"flips"`                // of these, with another verdict than the run before
	Score     float64 `json:"score"`                // flips per chance
	Flaky     bool    `json:"flaky,omitempty"`      // the score is 0.2 or more, over 4 chances and more
	Flipped   string  `json:"flipped,omitempty"`    // the last time: "pass to fail in i12"
	FlippedNS int64   `json:"flipped_ns,omitempty"` //
	Next      string  `json:"next,omitempty"`       // what to do about it
}

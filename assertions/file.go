package assertions

// File is a *.netcheck.yaml. The JSON Schema that editors use is generated from it.
type File struct {
	Exercise string            `yaml:"exercise" json:"exercise,omitempty" jsonschema:"exercise of devloop.yaml that these checks speak of; without it they judge whatever was captured"`
	Checks   []Check           `yaml:"checks" json:"checks,omitempty" jsonschema:"expectations about calls and connections"`
	Builtin  map[string]string `yaml:"builtin" json:"builtin,omitempty" jsonschema:"built-in checks that are muted, and why: keepalive-lost: the proxy closes every connection"`
}

// Check is one stated expectation about calls or connections.
type Check struct {
	Name           string  `yaml:"name" json:"name" jsonschema:"what is promised, in words; unique in the file"`
	On             string  `yaml:"on" json:"on" jsonschema:"KFL filter that selects calls or connections"`
	Expect         string  `yaml:"expect" json:"expect" jsonschema:"CEL over aggregates of what on selects: none(status_code >= 500)"`
	By             string  `yaml:"by" json:"by,omitempty" jsonschema:"KFL value to group by; every group gets a verdict of its own"`
	AllowEmpty     bool    `yaml:"allow_empty" json:"allow_empty,omitempty" jsonschema:"pass when on selects nothing and the capture is complete; nodata otherwise"`
	Severity       string  `yaml:"severity" json:"severity,omitempty" jsonschema:"error gates, warning is only reported; error by default"`
	Confidence     float64 `yaml:"confidence" json:"confidence,omitempty" jsonschema:"one-sided confidence of estimates; 0.95 by default"`
	OnInconclusive string  `yaml:"on_inconclusive" json:"on_inconclusive,omitempty" jsonschema:"fail gates, warn only reports, rerun(max=5, budget=60s) drives the services again for more data first; fail by default"`
	OnNoData       string  `yaml:"on_nodata" json:"on_nodata,omitempty" jsonschema:"fail gates, warn only reports; fail by default"`
	Skip           string  `yaml:"skip" json:"skip,omitempty" jsonschema:"why the check is not evaluated"`
	Muted          string  `yaml:"muted" json:"muted,omitempty" jsonschema:"why the check is evaluated and shown but does not count"`

	Quarantine *Quarantine `yaml:"quarantine" json:"quarantine,omitempty" jsonschema:"owner, reason and until: for so long its failures are reported and do not gate; after that day they gate again, and an error gates always"`
}

// What on_inconclusive and on_nodata may say.
const (
	OnFail = "fail"
	OnWarn = "warn"
)

package checkout

// What checkout says to the services behind it, in its own words: importing theirs would build it anew, with all their
// clients of databases, whenever one of them changes.
type (
	// basket is what cart answers.
	basket struct {
		ID    string  `json:"cart"`
		Items []int32 `json:"items"`
		Total int     `json:"total"` // in cents
	}
	// charge is what payment is asked for, receipt what it answers.
	charge struct {
		Order  string `json:"order"`
		Amount int    `json:"amount"` // in cents
	}
	receipt struct {
		Charge string `json:"charge"`
	}
	// order is what orders writes down.
	order struct {
		ID     string `json:"order"`
		Cart   string `json:"cart"`
		Total  int    `json:"total"`
		Charge string `json:"charge"`
	}
)

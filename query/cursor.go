package query

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// cursor is where a page ended. It belongs to one question: with another one it means nothing.
type cursor struct {
	Question uint64 `json:"q"`
	Value    int64  `json:"v,omitempty"` // what the rows are ordered by, of the last row
	Row      int64  `json:"r,omitempty"` // its number, in a file
	ID       string `json:"i,omitempty"` // its ID, in memory
	Total    int    `json:"t,omitempty"` // as the first page said
	Least    bool   `json:"l,omitempty"`
}

// questionOf is a number that differs for different questions.
func questionOf(parts ...any) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		fmt.Fprintf(h, "%v\x00", p)
	}
	return h.Sum64()
}

func (c *cursor) text() string {
	b, err := json.Marshal(c)
	if err != nil {
		return "" // plain data
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// maxCursor bounds what is decoded of a cursor.
const maxCursor = 1024

// readCursor reads the cursor of a question; nil where there is none.
func readCursor(s string, question uint64) (*cursor, error) {
	if s == "" {
		return nil, nil
	}
	var c cursor
	if len(s) > maxCursor {
		return nil, mistake("give the cursor of the answer before, as it is", "a cursor of %d bytes is none", len(s))
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return nil, mistake("give the cursor of the answer before, as it is", "cursor %q is none", cut(s, 60))
	}
	if c.Question != question {
		return nil, mistake("ask with the same database, filter, window and order as before, or without the cursor", "this cursor belongs to another question")
	}
	return &c, nil
}

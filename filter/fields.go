package filter

import (
	"github.com/devloop-io/devloop/traffic"
)

// sections is the table. Add a field here and it exists everywhere.
func sections() []section {
	return []section{
		{name: "HTTP", rows: Calls, fields: []Field{
			number(Field{Name: "status_code", JSON: "status", Column: "status", Response: true, Doc: "x"},
				ofAnswer(func(c *traffic.Call) int64 { return int64(c.Status) })),
			flag(Field{Name: "http"}, onRow(carries("http"))),
		}},
	}
}

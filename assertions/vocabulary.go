package assertions

import "sync"

// vocabulary is the table of aggregates, built once.
var vocabulary = sync.OnceValue(aggregates)

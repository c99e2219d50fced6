package derive

// Identifies reports whether a word alone tells that it names one of many things, as segments of paths that become {id} do.
func Identifies(word string) bool { return identifies(word) }

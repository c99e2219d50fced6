package scaffold

import (
	"fmt"
	"strings"
)

// mergeBlock puts a block between marks into a text: in the place of the one that is there, else at the end.
func mergeBlock(text, begin, end, block string) (string, error) {
	newline := "\n"
	if strings.Contains(text, "\r\n") {
		newline = "\r\n"
	}
	block = strings.ReplaceAll(begin+"\n"+strings.TrimSuffix(block, "\n")+"\n"+end, "\n", newline)
	from, to := strings.Index(text, begin), strings.Index(text, end)
	switch {
	case from >= 0 && to > from:
		return text[:from] + block + text[to+len(end):], nil
	case from >= 0 || to >= 0:
		return "", fmt.Errorf("there is %q without %q: mend the marks or remove them", begin, end)
	case text == "":
		return block + newline, nil
	}
	if !strings.HasSuffix(text, "\n") {
		text += newline
	}
	return text + newline + block + newline, nil
}

package config

import (
	"errors"
	"strings"
)

// SplitWords splits a command as a shell splits words: blanks part them; '…', "…" and \ keep what they quote together.
// Nothing is expanded and nothing runs: $, *, |, ;, && and > are letters like others.
func SplitWords(command string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
		quote  rune
		escape bool
	)
	for _, r := range command {
		switch {
		case escape:
			if quote == '"' && !strings.ContainsRune("\"\\$`\n", r) {
				word.WriteRune('\\') // as in a shell: within "…" a backslash quotes only these
			}
			if r != '\n' { // an escaped end of line joins two lines
				word.WriteRune(r)
				inWord = true
			}
			escape = false
		case r == '\\' && quote != '\'':
			escape = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if inWord {
				words, inWord = append(words, word.String()), false
				word.Reset()
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("the quote " + string(quote) + " is never closed")
	case escape:
		return nil, errors.New("nothing follows the last backslash")
	case inWord:
		words = append(words, word.String())
	}
	return words, nil
}

// JoinWords is the inverse of [SplitWords]: it quotes where that is needed.
func JoinWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsAny(w, " \t\r\n\"'\\$`*?[]{}()|&;<>#~!") {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

package config

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Expand replaces ${NAME} and ${NAME:-default} by what lookup says (os.LookupEnv fits). A variable that is not set and
// has no default is an error; one that is set but empty takes the default, as in a shell. $${ stands for ${; any other
// $ stands for itself.
func Expand(text string, lookup func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), nil
		}
		if escaped, ok := strings.CutSuffix(before, "$"); ok {
			b.WriteString(escaped + "${")
			text = rest
			continue
		}
		b.WriteString(before)
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${%s is never closed", rest)
		}
		name, fallback, hasDefault := strings.Cut(inner, ":-")
		if !isVariable(name) {
			return "", fmt.Errorf("${%s} is no variable: write ${NAME} or ${NAME:-default}, or $${ for a literal ${", inner)
		}
		value, ok := lookup(name)
		switch {
		case hasDefault && value == "":
			value = fallback
		case !ok:
			return "", fmt.Errorf("the environment variable %s is not set: set it, or write ${%s:-default}", name, name)
		}
		b.WriteString(value)
		text = after
	}
}

func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// ReadEnvFile reads a file of NAME=value lines, as env_file names it: blank lines and lines that begin with # are left
// out, "export " before a name too. Values may stand in '…' (taken as they are) or "…" (with \n, \t, \" and \\).
func ReadEnvFile(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read env_file: %w", err)
	}
	env := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\uFEFF"))
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, found := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		name = strings.TrimSpace(name)
		if !found || !isVariable(name) {
			return nil, &Error{File: path, Line: number, Column: 1, Msg: "this is no NAME=value line", Source: lines.Text(),
				Hint: "begin comments with #"}
		}
		if env[name], err = envValue(strings.TrimSpace(value)); err != nil {
			return nil, &Error{File: path, Line: number, Column: strings.Index(lines.Text(), "=") + 2, Msg: err.Error(), Source: lines.Text()}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read env_file %s: %w", path, err)
	}
	return env, nil
}

func envValue(v string) (string, error) {
	if v == "" || v[0] != '\'' && v[0] != '"' {
		value, _, _ := strings.Cut(v, " #")
		return strings.TrimSpace(value), nil
	}
	if v[0] == '\'' {
		inner, after, closed := strings.Cut(v[1:], "'")
		if !closed || !isEnd(after) {
			return "", fmt.Errorf("the quote ' is not closed at the end of the line")
		}
		return inner, nil
	}
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '"' && isEnd(v[i+1:]):
			return b.String(), nil
		case v[i] == '\\' && i+1 < len(v):
			i++
			if r, ok := map[byte]byte{'n': '\n', 't': '\t', 'r': '\r'}[v[i]]; ok {
				b.WriteByte(r)
			} else {
				b.WriteByte(v[i])
			}
		default:
			b.WriteByte(v[i])
		}
	}
	return "", fmt.Errorf(`the quote " is not closed at the end of the line`)
}

func isEnd(rest string) bool {
	rest = strings.TrimSpace(rest)
	return rest == "" || rest[0] == '#'
}

package glob

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxAlternatives bounds what the braces of one pattern expand to.
const maxAlternatives = 256

// Validate says what is wrong with a pattern, or nothing.
func Validate(pattern string) error {
	if pattern == "" {
		return errors.New("an empty pattern matches nothing")
	}
	alternatives, err := expand(pattern)
	if err != nil {
		return err
	}
	for _, a := range alternatives {
		for element := range strings.SplitSeq(a, "/") {
			if strings.Contains(element, "**") && element != "**" {
				return fmt.Errorf("** must be a whole path element: %q", element)
			}
			if _, err := path.Match(element, ""); err != nil {
				return fmt.Errorf("bad pattern %q: %w", element, err)
			}
		}
	}
	return nil
}

// Match says whether a path, relative and with slashes, matches one of the patterns. A pattern that begins with ! takes
// out what earlier ones took in. A pattern that [Validate] refuses matches nothing.
func Match(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		p, exclude := strings.CutPrefix(p, "!")
		if matched == exclude && matchOne(p, name) {
			matched = !exclude
		}
	}
	return matched
}

func matchOne(pattern, name string) bool {
	alternatives, err := expand(strings.TrimPrefix(pattern, "./"))
	if err != nil {
		return false
	}
	elements := strings.Split(name, "/")
	return slices.ContainsFunc(alternatives, func(a string) bool { return matchElements(strings.Split(a, "/"), elements) })
}

// matchElements keeps one place to come back to, the last **: enough, because a later ** can take what an earlier one
// could. So the cost is at most len(pattern) × len(name).
func matchElements(pattern, name []string) bool {
	p, n, backP, backN := 0, 0, -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			backP, backN = p, n
			p++
			continue
		case p < len(pattern):
			if ok, _ := path.Match(pattern[p], name[n]); ok {
				p, n = p+1, n+1
				continue
			}
		}
		if backP < 0 {
			return false
		}
		backN++
		p, n = backP+1, backN
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}

// expand turns {a,b} into one pattern for a and one for b.
func expand(pattern string) ([]string, error) {
	result := []string{""}
	for {
		before, rest, found := strings.Cut(pattern, "{")
		for i := range result {
			result[i] += before
		}
		if !found {
			if strings.Contains(before, "}") {
				return nil, errors.New("} without {")
			}
			return result, nil
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed || strings.Contains(inner, "{") || strings.Contains(before, "}") {
			return nil, errors.New("braces must be closed and cannot be nested")
		}
		var next []string
		for choice := range strings.SplitSeq(inner, ",") {
			for _, r := range result {
				next = append(next, r+choice)
			}
		}
		if len(next) > maxAlternatives {
			return nil, fmt.Errorf("the braces expand to more than %d patterns", maxAlternatives)
		}
		result, pattern = next, after
	}
}

// Files lists the files under a folder that match, sorted by name. The folder itself is never left.
func Files(fsys fs.FS, patterns []string) ([]string, error) {
	var files []string
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && Pruned(d.Name()):
			return fs.SkipDir
		case !d.IsDir() && Match(patterns, name):
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list files that match %s: %w", strings.Join(patterns, " "), err)
	}
	return files, nil
}

// Pruned says whether a folder of this name is never looked into: version control, installed packages, our own state.
func Pruned(folder string) bool {
	switch folder {
	case ".git", ".hg", ".svn", ".jj", "node_modules", ".devloop", ".venv", "__pycache__":
		return true
	}
	return false
}

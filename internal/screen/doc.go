// Package screen keeps a few lines at the bottom of a terminal's output current, while all else scrolls above them.
//
// Plain ANSI (ECMA-48) sequences are enough for that: the terminal's modes stay as they are, so that a program that is killed leaves
// nothing to mend but a hidden cursor.
package screen

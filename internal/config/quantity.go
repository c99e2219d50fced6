package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a time span written with its unit.
func ParseDuration(text string) (Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil && isNumber(text):
		return 0, fmt.Errorf("%s has no unit", text)
	case err != nil:
		return 0, fmt.Errorf("%q is no time span", text)
	case d < 0:
		return 0, fmt.Errorf("%s is negative", text)
	}
	return Duration(d), nil
}

// String prints it as [time.Duration] does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes it with its unit, so that JSON and YAML read it back.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads it with its unit.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// sizeUnits are the units of a [Size], the longest spelling of each power first, as [Size.String] prints them.
var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads a number of bytes written with its unit: B, kB, MB, GB, TB or KiB, MiB, GiB, TiB in any case.
func ParseSize(text string) (Size, error) {
	if isNumber(text) {
		return 0, fmt.Errorf("%s has no unit", text)
	}
	for _, u := range sizeUnits {
		if len(text) <= len(u.name) || !strings.EqualFold(text[len(text)-len(u.name):], u.name) {
			continue
		}
		number, err := strconv.ParseFloat(strings.TrimSpace(text[:len(text)-len(u.name)]), 64)
		switch {
		case err != nil:
			return 0, fmt.Errorf("%q is no size", text)
		case math.IsNaN(number) || number < 0:
			return 0, fmt.Errorf("%s is negative", text)
		case number*u.bytes >= math.MaxInt64:
			return 0, errors.New(text + " is too large")
		}
		return Size(number * u.bytes), nil
	}
	return 0, fmt.Errorf("%q is no size", text)
}

// String prints it in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if unit := int64(u.bytes); s != 0 && int64(s)%unit == 0 {
			return strconv.FormatInt(int64(s)/unit, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText writes it with its unit.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads it with its unit.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

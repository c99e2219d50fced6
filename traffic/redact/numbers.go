package redact

// number recognises card and id numbers in a run of digits and single separators that begins at b[i].
func number(b []byte, i int) (span, bool) {
	if i > 0 && (b[i-1] == '.' || b[i-1] == '-' || b[i-1] == '+') {
		return span{}, false // the fraction of a number, a part of a longer id
	}
	var digits [20]byte
	var groups [8]uint8
	n, g, end := 0, 0, i
	var sep byte
scan:
	for at := i; at < len(b); at++ {
		c := b[at]
		switch {
		case isDigit(c):
			if n == len(digits) {
				return span{}, false
			}
			digits[n] = c - '0'
			n++
			groups[g]++
			end = at + 1
		case (c == ' ' || c == '-' || c == '.') && at+1 < len(b) && isDigit(b[at+1]) && (sep == 0 || sep == c || sep == '.' && c == '-'):
			if c == ' ' && n >= 13 && sep == 0 { // a whole number, then another word
				break scan
			}
			if g+1 == len(groups) {
				return span{}, false
			}
			if sep == 0 {
				sep = c
			}
			g++
		default:
			break scan
		}
	}
	if end < len(b) && (class[b[end]] == cWord || (b[end] == '-' || b[end] == '.') && end+1 < len(b) && class[b[end+1]] == cWord) {
		return span{}, false
	}
	d := digits[:n]
	switch {
	case sep == '-' && g == 2 && groups[0] == 3 && groups[1] == 2 && groups[2] == 4:
		if ssn(d) {
			return span{from: i, to: end, kind: "ssn"}, true
		}
	case sep == '.' && g == 3 && n == 11 && groups[0] == 3 && groups[1] == 3 && groups[2] == 3 && cpf(d):
		return span{from: i, to: end, kind: "id_number"}, true
	case (sep == 0 || sep != '.' && cardGroups(groups[:g+1])) && card(d, sep != 0) && luhn(d):
		return span{from: i, to: end, kind: "card"}, true
	}
	return span{}, false
}

// cardGroups reports whether digits are grouped as cards print them: fours with a shorter rest, or 4-6-5 and 4-6-4.
func cardGroups(g []uint8) bool {
	if len(g) == 3 && g[0] == 4 && g[1] == 6 && (g[2] == 5 || g[2] == 4) {
		return true
	}
	for i, n := range g {
		if n != 4 && (i != len(g)-1 || n > 4) {
			return false
		}
	}
	return len(g) >= 4
}

// card reports whether digits begin and measure like a card of one of the large schemes. Written in one piece, lengths
// that product codes (13) and generated ids (17 to 19) have too are left alone; grouped, they are taken.
func card(d []byte, grouped bool) bool {
	n := len(d)
	if n < 13 || n > 19 {
		return false
	}
	two := int(d[0])*10 + int(d[1])
	four := two*100 + int(d[2])*10 + int(d[3])
	long := n == 16 || grouped && n >= 16
	switch {
	case d[0] == 4:
		return n == 16 || grouped && (n == 13 || n == 19)
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720:
		return n == 16
	case two == 34, two == 37:
		return n == 15
	case four == 6011, four >= 6440 && four <= 6599, two == 62, four >= 3528 && four <= 3589:
		return long
	case four >= 3000 && four <= 3059, two == 36, two == 38, two == 39:
		return n == 14
	case four == 5018, four == 5020, four == 5038, four == 5893, four == 6304, four == 6759, four >= 6761 && four <= 6763:
		return long
	}
	return false
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(d []byte) bool {
	sum := 0
	for i := range d {
		v := int(d[len(d)-1-i])
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// ssn leaves out the areas, groups and serials that are never given to anyone.
func ssn(d []byte) bool {
	area := int(d[0])*100 + int(d[1])*10 + int(d[2])
	return area != 0 && area != 666 && area < 900 && (d[3] != 0 || d[4] != 0) && (d[5]|d[6]|d[7]|d[8]) != 0
}

// cpf checks both check digits of a Brazilian id number.
func cpf(d []byte) bool {
	same := true
	for _, c := range d {
		same = same && c == d[0]
	}
	if same {
		return false
	}
	for n := 9; n <= 10; n++ {
		sum := 0
		for i := 0; i < n; i++ {
			sum += int(d[i]) * (n + 1 - i)
		}
		if byte(sum*10%11%10) != d[n] {
			return false
		}
	}
	return true
}

// ibanLength of each country that has IBANs (ISO 13616 registry).
var ibanLength = map[string]int{
	"AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
	"CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
	"FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
	"IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
	"LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
	"NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
	"SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
	"UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}

// iban is the end of an account number with the right length and check digits that begins at i, written in one piece or
// in groups of four; 0 when there is none.
func iban(b []byte, i int) int {
	if !isDigit(b[i+2]) || !isDigit(b[i+3]) || b[i+1] < 'A' || b[i+1] > 'Z' {
		return 0
	}
	want := ibanLength[string(b[i:i+2])]
	if want == 0 {
		return 0
	}
	var v [40]byte
	n, at := 0, i
	for ; at < len(b) && n < want; at++ {
		if b[at] == ' ' && n%4 == 0 && n > 0 && b[at-1] != ' ' {
			continue
		}
		if !upperDigit(b[at]) {
			return 0
		}
		v[n] = b[at]
		n++
	}
	if n != want || at < len(b) && class[b[at]] == cWord {
		return 0
	}
	mod := 0
	for k := range want {
		c := v[(k+4)%want]
		if isDigit(c) {
			mod = (mod*10 + int(c-'0')) % 97
		} else {
			mod = (mod*100 + int(c-'A') + 10) % 97
		}
	}
	if mod != 1 {
		return 0
	}
	return at
}

// codiceFiscale is the end of an Italian tax code, which has a check letter, that begins at i; 0 when there is none.
func codiceFiscale(b []byte, i int) int {
	const shape = "AAAAAA00A00A000A"
	if len(b)-i < len(shape) || len(b) > i+len(shape) && class[b[i+len(shape)]] == cWord {
		return 0
	}
	odd := [...]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for k := range shape {
		c := b[i+k]
		letter := c >= 'A' && c <= 'Z'
		if shape[k] == 'A' && !letter || shape[k] == '0' && !isDigit(c) {
			return 0
		}
		if k == len(shape)-1 {
			break
		}
		v := int(c - '0')
		if letter {
			v = int(c - 'A')
		}
		if k%2 == 0 {
			v = odd[v]
		}
		sum += v
	}
	if int(b[i+15]-'A') != sum%26 {
		return 0
	}
	return i + len(shape)
}

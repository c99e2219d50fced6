package redact

// exactKeys are names of headers, parameters and fields whose value is secret, normalised by [normalize].
var exactKeys = map[string]string{
	"password": "password", "passwd": "password", "pwd": "password", "pass": "password", "passphrase": "password",
	"passcode": "password", "newpassword": "password", "oldpassword": "password", "pgpassword": "password",
	"otp": "otp", "totp": "otp", "mfacode": "otp", "onetimecode": "otp",
	"secret": "secret", "clientsecret": "secret", "sharedsecret": "secret", "credential": "secret", "credentials": "secret",
	"secrets": "secret", "codeverifier": "secret", "assertion": "secret", "clientassertion": "secret", "samlresponse": "secret",
	"token": "token", "tokens": "token", "accesstoken": "token", "refreshtoken": "token", "idtoken": "token",
	"authtoken": "token", "bearertoken": "token", "jwt": "token", "dpop": "token", "jwtassertion": "token",
	"cfaccessjwtassertion": "token", "xgoogiapjwtassertion": "token", "securitytoken": "token", "xamzsecuritytoken": "token",
	"privatetoken": "token", "devicetoken": "token", "registrationtoken": "token", "tokensecret": "secret",
	"apikey": "api_key", "xapikey": "api_key", "accesskey": "api_key", "accesskeyid": "api_key", "secretaccesskey": "secret",
	"secretkey": "secret", "privatekey": "private_key", "signingkey": "secret", "encryptionkey": "secret", "masterkey": "secret",
	"sharedaccesskey": "secret", "accountkey": "secret", "subscriptionkey": "api_key", "ocpapimsubscriptionkey": "api_key",
	"xfunctionskey": "api_key", "appkey": "api_key", "authkey": "api_key", "xauthkey": "api_key", "xamzsignature": "signature",
	"xgoogsignature": "signature", "xgoogapikey": "api_key",
	"authorization": "auth", "proxyauthorization": "auth", "xforwardedauthorization": "auth", "xoriginalauthorization": "auth",
	"auth": "auth", "authentication": "auth", "xauth": "auth", "basicauth": "auth",
	"cookie": "cookie", "setcookie": "set_cookie", "cookie2": "cookie", "setcookie2": "set_cookie",
	"sessionid": "session", "jsessionid": "session", "phpsessid": "session", "aspsessionid": "session", "sessionkey": "session",
	"xsessionid": "session", "connectsid": "session",
	"card": "card", "cardnumber": "card", "cardno": "card", "creditcard": "card", "creditcardnumber": "card", "ccnumber": "card",
	"pan": "card", "primaryaccountnumber": "card", "debitcard": "card", "cvv": "card", "cvc": "card", "cvv2": "card", "cvc2": "card",
	"securitycode": "card", "cardcvc": "card", "cardcvv": "card",
	"iban": "iban", "accountnumber": "account", "bankaccount": "account", "routingnumber": "account",
	"ssn": "ssn", "socialsecuritynumber": "ssn", "socialsecurity": "ssn", "nationalid": "id_number", "nino": "id_number",
	"taxid": "id_number", "passport": "id_number", "passportnumber": "id_number", "driverslicense": "id_number",
	"driverlicense": "id_number", "cpf": "id_number",
}

// keySuffixes make longer names secret: stripe_api_key, x-vault-token, db_password. First one wins.
var keySuffixes = []struct{ suffix, kind string }{
	{"password", "password"}, {"passwd", "password"}, {"passphrase", "password"}, {"secret", "secret"}, {"token", "token"},
	{"apikey", "api_key"}, {"accesskey", "api_key"}, {"secretkey", "secret"}, {"privatekey", "private_key"},
	{"cardnumber", "card"}, {"credentials", "secret"}, {"sessionid", "session"},
}

// plainKeys end like a secret and are none: cursors and counters.
var plainKeys = map[string]bool{
	"pagetoken": true, "nextpagetoken": true, "nexttoken": true, "continuationtoken": true, "synctoken": true,
	"previouspagetoken": true, "prevpagetoken": true, "startingtoken": true, "paginationtoken": true, "cancellationtoken": true,
	"nosecret": true, "hassecret": true, "haspassword": true, "resetpassword": true, "forgotpassword": true, "changepassword": true,
	"accesscontrolallowcredentials": true, "publickeytoken": true, "removedtoken": true, "invalidtoken": true, "eostoken": true, "bostoken": true,
}

// idHeaders carry identifiers that tie calls together; digits in them are never card or id numbers.
var idHeaders = map[string]bool{
	"traceparent": true, "tracestate": true, "x-request-id": true, "x-correlation-id": true, "x-b3-traceid": true,
	"x-b3-spanid": true, "x-b3-parentspanid": true, "b3": true, "uber-trace-id": true, "x-cloud-trace-context": true,
	"x-amzn-trace-id": true, "x-amzn-requestid": true, "idempotency-key": true, "etag": true, "if-none-match": true,
	"if-match": true, "date": true, "last-modified": true, "content-length": true, "expires": true, "host": true,
	"x-datadog-trace-id": true, "x-datadog-parent-id": true, "user-agent": true, "server": true,
}

const maxKey = 64 // longest name that is looked at

// normalize writes name into buf in lower case, without the characters that people separate words with.
func normalize(buf *[maxKey]byte, name []byte) []byte {
	n := 0
	for _, c := range name {
		switch {
		case c == '_' || c == '-' || c == '.' || c == ' ' || c == '$' || c == '@':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if n == maxKey {
			return nil
		}
		buf[n] = c
		n++
	}
	return buf[:n]
}

// keyKind says what kind of secret stands under a name, "" for none.
func (r *Redactor) keyKind(name []byte) string {
	if len(name) < 3 || len(name) > maxKey {
		return ""
	}
	var buf [maxKey]byte
	key := normalize(&buf, name)
	if len(key) < 3 {
		return ""
	}
	exact, suffix := r.tails.could(key)
	if exact {
		if kind, ok := r.keys[string(key)]; ok {
			return kind
		}
	}
	if !suffix {
		return ""
	}
	for _, s := range keySuffixes {
		if len(key) > len(s.suffix) && string(key[len(key)-len(s.suffix):]) == s.suffix {
			if plainKeys[string(key)] {
				return ""
			}
			return s.kind
		}
	}
	return ""
}

// tails tell most names that are no keys by their length and few of their letters.
type tails struct {
	exact  [1 << 13 / 64]uint64 // by length, first and last letter
	suffix [1 << 10 / 64]uint64 // by the last two letters
}

func newTails(keys map[string]string) *tails {
	t := &tails{}
	for key := range keys {
		i := exactBit([]byte(key))
		t.exact[i/64] |= 1 << (i % 64)
	}
	for _, s := range keySuffixes {
		i := suffixBit([]byte(s.suffix))
		t.suffix[i/64] |= 1 << (i % 64)
	}
	return t
}

func exactBit(key []byte) uint {
	return (uint(len(key)) + 31*uint(key[0]) + 419*uint(key[len(key)-1])) % (1 << 13)
}

func suffixBit(key []byte) uint {
	return (uint(key[len(key)-2])*37 + uint(key[len(key)-1])) % (1 << 10)
}

// could reports whether key may be in the table of keys, and whether it may end in one of keySuffixes. It has two letters at least.
func (t *tails) could(key []byte) (exact, suffix bool) {
	i, j := exactBit(key), suffixBit(key)
	return t.exact[i/64]&(1<<(i%64)) != 0, t.suffix[j/64]&(1<<(j%64)) != 0
}

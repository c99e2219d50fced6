package shop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

var encoding = base64.RawURLEncoding

// tokenKey signs the shop's tokens; test only, like the CA.
var tokenKey = []byte(TestOnlySeed + "/tokens")

// Token makes a signed JWT for a user.
func Token(user string, now time.Time) string {
	claims, _ := json.Marshal(map[string]any{"sub": user, "iss": "login", "exp": now.Add(24 * time.Hour).Unix()}) // plain values always encode
	content := encoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encoding.EncodeToString(claims)
	return content + "." + sign(content)
}

// User is who an Authorization header speaks for; false when it is missing, forged or too old.
func User(authorization string, now time.Time) (string, bool) {
	token, ok := strings.CutPrefix(authorization, "Bearer ")
	dot := strings.LastIndexByte(token, '.')
	if !ok || dot < 0 || !hmac.Equal([]byte(sign(token[:dot])), []byte(token[dot+1:])) {
		return "", false
	}
	_, payload, _ := strings.Cut(token[:dot], ".")
	raw, err := encoding.DecodeString(payload)
	if err != nil {
		return "", false
	}
	var claims struct {
		Sub string `json:"sub"`
		Exp int64  `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || now.Unix() > claims.Exp {
		return "", false
	}
	return claims.Sub, true
}

func sign(content string) string {
	mac := hmac.New(sha256.New, tokenKey)
	mac.Write([]byte(content))
	return encoding.EncodeToString(mac.Sum(nil))
}

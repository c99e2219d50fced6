package shop

import (
	"fmt"
	"slices"
	"strings"
)

// Faults are the names that FAULTS accepts. faults.yaml, beside devloop.yaml, says what each one does and which check
// catches it.
var Faults = []string{
	"auth-missing", "cache-miss", "cart-miss", "db-churn", "dns-flood", "field-changed", "grpc-churn",
	"grpc-deadline-missing", "grpc-unavailable", "keepalive-lost", "n-plus-one", "n-plus-one-sql", "new-egress",
	"no-correlation-id", "payment-slow", "payment-timeout", "plaintext", "pool-exhaustion", "redis-error", "redis-keys",
	"retry-no-backoff", "retry-storm", "sni-missing", "sql-error", "sql-slow", "tls-old", "token-forwarded",
}

// parseFaults reads a list such as "retry-storm,tls-old".
func parseFaults(list string) (map[string]bool, error) {
	planted := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		if !slices.Contains(Faults, name) {
			return nil, fmt.Errorf("read FAULTS: unknown fault %q; known: %s", name, strings.Join(Faults, ", "))
		}
		planted[name] = true
	}
	return planted, nil
}

// Package checktest tests checks: a file says which calls were made, and which verdicts the checks of another file must then
// give. Whoever writes a check can so see it fail before anything is built that breaks it.
//
//	# checkout.netcheck_test.yaml
//	checks: checkout.netcheck.yaml
//	cases:
//	  - name: one 503 is one too many
//	    calls:
//	      - {from: cart, to: frontend, path: /api/v1/checkout, repeat: 40}
//	      - {from: cart, to: frontend, path: /api/v1/checkout, status: 503}
//	    want: {checkout never answers 5xx: fail}
package checktest

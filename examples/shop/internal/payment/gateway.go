package payment

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

// gatewayHost is the gateway's name: looked up, in the TLS handshake, and in its certificate.
const gatewayHost = "api.payments.example"

// openGateway makes the client of the gateway: HTTPS, with its name in the handshake.
func openGateway(ctx context.Context, s *shop.Service) (*shop.Peer, error) {
	switch {
	case s.Fault("plaintext"):
		return s.Outside("http://"+gatewayHost, "GATEWAY_PLAIN"), nil
	case s.Fault("sni-missing"):
		return gatewayByAddress(ctx, s)
	}
	gateway := s.Outside("https://"+gatewayHost, "GATEWAY")
	if s.Fault("tls-old") {
		config := gateway.Client.Transport.(*http.Transport).TLSClientConfig
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 // "the old proxy needs it"
	}
	return gateway, nil
}

// gatewayByAddress is the bug of looking the name up once and calling an address from then on: no server name in the
// handshake, and for want of a name to verify no verification.
func gatewayByAddress(ctx context.Context, s *shop.Service) (*shop.Peer, error) {
	addr := s.Env("GATEWAY_ADDR", "")
	if host, _, err := net.SplitHostPort(addr); err != nil || net.ParseIP(host) == nil {
		ips, err := s.Resolver.LookupNetIP(ctx, "ip4", gatewayHost)
		if err != nil {
			return nil, fmt.Errorf("look the gateway up: %w", err)
		}
		addr = net.JoinHostPort(ips[0].Unmap().String(), "443")
	}
	gateway := s.Outside("https://"+addr, "GATEWAY")
	gateway.Client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true
	return gateway, nil
}

// everyNth is true on every n-th call.
func everyNth(n int64) func() bool {
	var calls atomic.Int64
	return func() bool { return calls.Add(1)%n == 0 }
}

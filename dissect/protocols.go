package dissect

import (
	"github.com/devloop-io/devloop/dissect/dns"
	"github.com/devloop-io/devloop/dissect/http1"
	"github.com/devloop-io/devloop/dissect/http2"
	"github.com/devloop-io/devloop/dissect/postgresql"
	"github.com/devloop-io/devloop/dissect/protocol"
	"github.com/devloop-io/devloop/dissect/quic"
	"github.com/devloop-io/devloop/dissect/redis"
	"github.com/devloop-io/devloop/dissect/socks"
	"github.com/devloop-io/devloop/dissect/tls"
	"github.com/devloop-io/devloop/dissect/websocket"
)

// protocols is every protocol that calls are read from, asked in this order. One folder each.
var protocols = []protocol.Protocol{
	http1.Protocol,
	http2.Protocol,
	tls.Protocol,
	postgresql.Protocol,
	redis.Protocol,
	websocket.Protocol,
	dns.OverTCP,
	socks.Protocol,
	dns.OverUDP,
	quic.Protocol,
}

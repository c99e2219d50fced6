package graphql

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/devloop-io/devloop/traffic"
)

var errNoObject = errors.New("no JSON object")

// Speaks reports whether the subprotocol that a WebSocket server agreed to is one of GraphQL's.
func Speaks(headers []traffic.Header) bool {
	switch strings.TrimSpace(header(headers, "sec-websocket-protocol")) {
	case "graphql-transport-ws", "graphql-ws": // the second is the older one of subscriptions-transport-ws
		return true
	}
	return false
}

// ReadMessage describes a text message of such a connection.
func ReadMessage(c *traffic.Call) {
	var m struct {
		ID      string          `json:"id"`
		Type    string          `json:"type"`
		Payload json.RawMessage `json:"payload"`
	}
	if json.Unmarshal(c.WebSocket.Payload, &m) != nil || m.Type == "" {
		return
	}
	g := &traffic.GraphQL{Message: m.Type, MessageID: m.ID}
	switch m.Type {
	case "subscribe", "start":
		d := json.NewDecoder(bytes.NewReader(m.Payload))
		if t, err := d.Token(); err == nil && t == json.Delim('{') {
			g.GraphQLOperation, _ = readAsked(d, true)
		}
	case "next", "data":
		g.Errors, g.ErrorsCut = answer(m.Payload)
	case "error":
		g.Errors = appendErrors(nil, m.Payload)
	}
	c.GraphQL = g
}

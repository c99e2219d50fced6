// Command gateway runs the shop's gateway service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/gateway"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("gateway", gateway.New) }

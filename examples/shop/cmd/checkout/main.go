// Command checkout runs the shop's checkout service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/checkout"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("checkout", checkout.New) }

// Command orders runs the shop's orders service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/orders"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("orders", orders.New) }

// Command cart runs the shop's cart service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/cart"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("cart", cart.New) }

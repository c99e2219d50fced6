// Command catalogue runs the shop's catalogue service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/catalogue"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("catalogue", catalogue.New) }

// Command frontend runs the shop's frontend service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/frontend"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("frontend", frontend.New) }

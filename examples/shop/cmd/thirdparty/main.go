// Command thirdparty runs the shop's thirdparty service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
	"github.com/devloop-io/devloop/examples/shop/internal/thirdparty"
)

func main() { shop.Main("thirdparty", thirdparty.New) }

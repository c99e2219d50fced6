// Command payment runs the shop's payment service.
package main

import (
	"github.com/devloop-io/devloop/examples/shop/internal/payment"
	"github.com/devloop-io/devloop/examples/shop/internal/shop"
)

func main() { shop.Main("payment", payment.New) }

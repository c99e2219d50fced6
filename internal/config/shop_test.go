package config

import "testing"

// The example that everything is shown on is always valid.
func TestShopLoads(t *testing.T) {
	t.Parallel()
	c, err := Load("../../examples/shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Services) == 0 || c.DefaultExercise() == "" {
		t.Errorf("the shop has %d services and the default exercise %q", len(c.Services), c.DefaultExercise())
	}
}

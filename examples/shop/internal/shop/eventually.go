package shop

import (
	"context"
	"fmt"
	"time"
)

// Eventually calls f until it succeeds, at most for a time: what a service needs may still be starting.
func Eventually(ctx context.Context, patience time.Duration, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %s: %w", patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

package orders

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/devloop-io/devloop/examples/shop/internal/database"
	"github.com/devloop-io/devloop/examples/shop/internal/stock"
)

// warehouse answers shop.v1.Stock.
type warehouse struct {
	*orders
	asked atomic.Int64
}

// Check says which items are not in stock, with one query for all of them.
func (w *warehouse) Check(ctx context.Context, request *stock.CheckRequest) (*stock.CheckReply, error) {
	if w.asked.Add(1)%16 == 0 && w.Fault("grpc-unavailable") {
		return nil, status.Error(codes.Unavailable, "the warehouse is being counted")
	}
	there, err := w.inStock(ctx, request.Items)
	if err != nil {
		return nil, status.Errorf(codes.Internal, "check the stock for order %s: %v", request.Order, err)
	}
	reply := &stock.CheckReply{}
	for _, item := range request.Items {
		if !slices.Contains(there, item) {
			reply.Missing = append(reply.Missing, item)
		}
	}
	return reply, nil
}

// inStock is those of the items that are in stock.
func (w *warehouse) inStock(ctx context.Context, items []int32) ([]int32, error) {
	if !w.Fault("n-plus-one-sql") {
		return w.find(ctx, database.SelectStock, items)
	}
	var all []int32
	for _, item := range items { // what an ORM does behind "order.items.each"
		found, err := w.find(ctx, database.SelectStockOfItem, item)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func (w *warehouse) find(ctx context.Context, query string, arg any) ([]int32, error) {
	rows, err := w.db.Query(ctx, query, arg)
	if err != nil {
		return nil, fmt.Errorf("select stock: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[int32])
}

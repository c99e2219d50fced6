package filter

import "github.com/devloop-io/devloop/traffic"

// graphqlSection is what GraphQL adds to an HTTP call or a WebSocket message.
func graphqlSection() section {
	return section{name: "GraphQL", rows: Calls, applies: isGQL, optional: true, fields: []Field{
		flag(Field{Name: "gql", Request: true, Column: "gql", applies: carriesGQL,
			Doc:     "a GraphQL call; the fields of HTTP hold for it, too. Also a message of a GraphQL subscription over WebSocket",
			Example: `gql && size(gql_errors) > 0`}, onRow(isGQL)),
		flag(Field{Name: "gqlv1", Request: true, applies: carriesGQL, Doc: "a GraphQL call over HTTP/1", Example: `gqlv1 && gql_operation == "mutation"`},
			onRow(gqlOver(false))),
		flag(Field{Name: "gqlv2", Request: true, applies: carriesGQL, Doc: "a GraphQL call over HTTP/2", Example: `gqlv2 && latency_ms > 100`},
			onRow(gqlOver(true))),
		text(Field{Name: "gql_operation", Request: true, JSON: "gql.operation", Aliases: []string{"graphql.operation.type"}, Column: "gql_operation",
			Doc:     "query, mutation or subscription; of a batch the first one's; empty where only the hash of a persisted query was sent",
			Example: `gql_operation == "mutation"`}, ofGQL(func(g *traffic.GraphQL) string { return g.Operation })),
		text(Field{Name: "gql_operation_name", Request: true, JSON: "gql.name", Aliases: []string{"graphql.operation.name"}, Column: "gql_operation_name",
			Doc: "name of the operation; empty for one without", Example: `gql_operation_name == "AddToCart"`},
			ofGQL(func(g *traffic.GraphQL) string { return g.Name })),
		texts(Field{Name: "gql_fields", Request: true, JSON: "gql.fields", Column: "gql_fields",
			Doc: "fields that the operations ask for at the root", Example: `"cart" in gql_fields`}, ofGQL(gqlFields)),
		text(Field{Name: "gql_query", Request: true, JSON: "gql.query", Aliases: []string{"graphql.document"}, Column: "gql_query", Doc: "the document",
			Example: `gql_query.contains("__schema")`}, ofGQL(func(g *traffic.GraphQL) string { return g.Query })),
		text(Field{Name: "gql_variables", Request: true, JSON: "gql.variables", Column: "gql_variables", Doc: "variables as JSON",
			Example: `gql_variables.contains("\"sku\"")`}, ofGQL(func(g *traffic.GraphQL) string { return g.Variables })),
		text(Field{Name: "gql_hash", Request: true, JSON: "gql.hash", Column: "gql_hash", Doc: "hash or id of a persisted query",
			Example: `gql && gql_query == "" && gql_hash != ""`}, ofGQL(func(g *traffic.GraphQL) string { return g.Hash })),
		number(Field{Name: "gql_operations", Request: true, Doc: "operations that the request asks for: more than one in a batch",
			Example: `gql_operations > 1`}, ofGQL(gqlOperations)),
		flag(Field{Name: "gql_success", Response: true, Doc: "the response came and has no errors", Example: `gql && status_code == 200 && !gql_success`},
			gqlSuccess),
		texts(Field{Name: "gql_errors", JSON: "gql.errors", Column: "gql_errors", Response: true, Doc: "messages of the response's errors",
			Example: `gql_errors.exists(e, e.contains("not found"))`},
			gqlErrors(func(e *traffic.GraphQLError) string { return e.Message })),
		texts(Field{Name: "gql_error_codes", Response: true, Doc: "extensions.code of the response's errors", Example: `"UNAUTHENTICATED" in gql_error_codes`},
			gqlErrors(func(e *traffic.GraphQLError) string { return e.Code })),
		texts(Field{Name: "gql_error_paths", Response: true, Doc: "which fields of the result failed", Example: `"cart.items" in gql_error_paths`},
			gqlErrors(func(e *traffic.GraphQLError) string { return e.Path })),
		text(Field{Name: "gql_message", JSON: "gql.message", Column: "gql_message", Doc: "over WebSocket: subscribe, next, error, complete, connection_init, …",
			Example: `ws && gql_message == "error"`}, ofGQL(func(g *traffic.GraphQL) string { return g.Message })),
		text(Field{Name: "gql_message_id", JSON: "gql.message_id", Column: "gql_message_id",
			Doc: "over WebSocket: the id that the messages of one operation share", Example: `gql_message_id == "1"`},
			ofGQL(func(g *traffic.GraphQL) string { return g.MessageID })),
	}}
}

func isGQL(r *Row) bool { return r.Call != nil && r.Call.GraphQL != nil }

// carriesGQL reports whether a row could be one of GraphQL at all.
func carriesGQL(r *Row) bool { return isHTTP(r) || isWS(r) }

func gqlOver(two bool) func(*Row) bool {
	return func(r *Row) bool { return isGQL(r) && isHTTP(r) && (r.Call.HTTP.Version == "2") == two }
}

func ofGQL[T any](get func(*traffic.GraphQL) T) func(*Row) (T, bool) {
	return func(r *Row) (v T, ok bool) {
		if !isGQL(r) {
			return v, false
		}
		return get(r.Call.GraphQL), true
	}
}

func gqlOperations(g *traffic.GraphQL) int64 {
	if g.Operation == "" && g.Name == "" && g.Query == "" && g.Hash == "" {
		return 0
	}
	return int64(1 + len(g.Batch))
}

func gqlFields(g *traffic.GraphQL) []string {
	all := append([]string(nil), g.Fields...)
	for i := range g.Batch {
		all = append(all, g.Batch[i].Fields...)
	}
	return all
}

// gqlAnswered reports whether the row tells what an operation came to.
func gqlAnswered(r *Row) bool {
	if !isGQL(r) {
		return false
	}
	switch r.Call.GraphQL.Message {
	case "":
		return r.Call.Answered()
	case "next", "data", "error":
		return true
	}
	return false
}

// gqlSuccess is unknown where the response was cut before an error was found.
func gqlSuccess(r *Row) (bool, bool) {
	if !gqlAnswered(r) {
		return false, false
	}
	g := r.Call.GraphQL
	failed := len(g.Errors) > 0 || isHTTP(r) && r.Call.Status >= 400
	return !failed && !g.ErrorsCut, failed || !g.ErrorsCut
}

func gqlErrors(get func(*traffic.GraphQLError) string) func(*Row) ([]string, bool) {
	return func(r *Row) ([]string, bool) {
		if !gqlAnswered(r) {
			return nil, false
		}
		var all []string
		for i := range r.Call.GraphQL.Errors {
			if s := get(&r.Call.GraphQL.Errors[i]); s != "" {
				all = append(all, s)
			}
		}
		return all, !r.Call.GraphQL.ErrorsCut
	}
}

package traffic

// GraphQL is what a GraphQL call carries beyond its HTTP exchange, or a message of it beyond its WebSocket frame.
type GraphQL struct {
	GraphQLOperation                    // of a batch the first
	Batch            []GraphQLOperation `json:"batch,omitempty"`      // those behind the first
	Errors           []GraphQLError     `json:"errors,omitempty"`     // of the response, of all operations
	ErrorsCut        bool               `json:"errors_cut,omitempty"` // the response was not read to its end: there may be more
	Message          string             `json:"message,omitempty"`    // over WebSocket: subscribe, next, error, complete, …
	MessageID        string             `json:"message_id,omitempty"` // over WebSocket: ties the messages of an operation together
}

// GraphQLOperation is one operation that a client asked for.
type GraphQLOperation struct {
	Operation string   `json:"operation,omitempty"` // query, mutation, subscription; empty where the document was not sent
	Name      string   `json:"name,omitempty"`
	Fields    []string `json:"fields,omitempty"` // at the root, without what fragments add
	Query     string   `json:"query,omitempty"`  // the document
	Variables string   `json:"variables,omitempty"`
	Hash      string   `json:"hash,omitempty"` // of a persisted query, or its id
}

// GraphQLError is one error of a response.
type GraphQLError struct {
	Message string `json:"message"`
	Path    string `json:"path,omitempty"` // cart.items.0
	Code    string `json:"code,omitempty"` // extensions.code: UNAUTHENTICATED
}

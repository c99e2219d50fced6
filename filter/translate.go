package filter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser/gen"
	"github.com/antlr4-go/antlr/v4"
)

// Translation is a source text with its older spellings rewritten to CEL.
type Translation struct {
	Source   string
	Text     string   // CEL
	Changes  []Change // in the order of the source
	Warnings []string // where the reading could surprise
	origin   []int    // per code point of Text, the code point of Source that it stands for
	base     Base
	empty    bool // nothing but white space and comments
}

// Change is one rewriting.
type Change struct {
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why,omitempty"`
}

// Translate rewrites older spellings to CEL: the words and, or, not, contains, startsWith, endsWith and matches between
// operands, `== r"…"` for regular expressions, and the aliases of the field table. Whatever is CEL already comes back as
// it was. The error is an [*Error].
func Translate(src string, opts ...Option) (*Translation, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	t := &Translation{Source: src, base: o.base}
	if len(src) > MaxLength {
		return nil, newError(src, o.base, 0, fmt.Sprintf("the expression is %d bytes long, and %d are the limit", len(src), MaxLength), "")
	}
	tokens, err := lex(src)
	if err == nil {
		err = balance(tokens)
	}
	if err != nil {
		return nil, t.place(err)
	}
	w := &rewriter{t: t, src: []rune(src), tokens: tokens}
	t.empty = len(tokens) == 0
	if !t.empty {
		w.markWords()
		w.list(0, len(tokens))
	}
	t.Text = string(w.out)
	return t, nil
}

// at returns the code point of the source that a code point of the text stands for.
func (t *Translation) at(offset int) int {
	switch {
	case offset < 0 || len(t.origin) == 0:
		return 0
	case offset >= len(t.origin):
		return len([]rune(t.Source))
	}
	return t.origin[offset]
}

// place turns an error of a step into an [*Error] in the source.
func (t *Translation) place(err error) error {
	var at *spot
	if errors.As(err, &at) {
		return newError(t.Source, t.base, at.offset, at.msg, at.hint)
	}
	return newError(t.Source, t.base, 0, err.Error(), "")
}

// spot is a message at a code point of the source.
type spot struct {
	offset    int
	msg, hint string
}

func (s *spot) Error() string { return s.msg }

// token is one token of CEL's own lexer.
type token struct {
	kind       int
	text       string
	start, end int // code points of the source, end exclusive
	match      int // of an opening bracket: index of the closing one
}

// lex returns the tokens of a text, without white space and comments.
func lex(src string) ([]token, error) {
	lexer := gen.NewCELLexer(antlr.NewInputStream(src))
	lexer.RemoveErrorListeners()
	mistakes := &lexErrors{src: src}
	lexer.AddErrorListener(mistakes)
	runes := []rune(src)
	var tokens []token
	for {
		t := lexer.NextToken()
		if mistakes.first != nil {
			return nil, mistakes.first
		}
		if t.GetTokenType() == antlr.TokenEOF {
			return tokens, nil
		}
		if t.GetChannel() != antlr.TokenDefaultChannel {
			continue
		}
		start, end := t.GetStart(), t.GetStop()+1
		if start < 0 || end > len(runes) || start >= end {
			return nil, &spot{offset: start, msg: "this is not a token of the filter language"}
		}
		tokens = append(tokens, token{kind: t.GetTokenType(), text: string(runes[start:end]), start: start, end: end})
	}
}

// lexErrors keeps the first mistake of the lexer.
type lexErrors struct {
	*antlr.DefaultErrorListener
	src   string
	first *spot
}

// SyntaxError implements [antlr.ErrorListener].
func (l *lexErrors) SyntaxError(_ antlr.Recognizer, _ any, line, column int, _ string, _ antlr.RecognitionException) {
	if l.first != nil {
		return
	}
	l.first = &spot{offset: offsetOf(l.src, line, column)}
	l.first.describe([]rune(l.src)[l.first.offset:])
}

// describe says what is wrong with the text that no token begins.
func (s *spot) describe(rest []rune) {
	if len(rest) == 0 {
		s.msg = "something is missing at the end"
		return
	}
	switch rest[0] {
	case '"', '\'':
		s.msg = "this string does not end, or holds an escape that CEL does not know"
		s.hint = `close the quotation mark; write a regular expression as r"\d+" or with doubled backslashes`
	case '=':
		s.msg, s.hint = "a single = compares nothing", "write =="
	case '&':
		s.msg, s.hint = "a single & is no operator", "write && or and"
	case '|':
		s.msg, s.hint = "a single | is no operator", "write || or or"
	default:
		s.msg = fmt.Sprintf("%q is not part of the filter language", string(rest[0]))
	}
}

var closing = map[int]int{gen.CELLexerLPAREN: gen.CELLexerRPAREN, gen.CELLexerLBRACKET: gen.CELLexerRPRACKET, gen.CELLexerLBRACE: gen.CELLexerRBRACE}

// balance pairs brackets, which all that follows relies on.
func balance(tokens []token) error {
	var open []int
	for i := range tokens {
		switch tokens[i].kind {
		case gen.CELLexerLPAREN, gen.CELLexerLBRACKET, gen.CELLexerLBRACE:
			open = append(open, i)
			if len(open) > maxDepth {
				return &spot{offset: tokens[i].start, msg: fmt.Sprintf("brackets stand more than %d deep", maxDepth)}
			}
		case gen.CELLexerRPAREN, gen.CELLexerRPRACKET, gen.CELLexerRBRACE:
			if len(open) == 0 || closing[tokens[open[len(open)-1]].kind] != tokens[i].kind {
				return &spot{offset: tokens[i].start, msg: fmt.Sprintf("this %s closes nothing", tokens[i].text)}
			}
			tokens[open[len(open)-1]].match = i
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		last := tokens[open[len(open)-1]]
		return &spot{offset: last.start, msg: fmt.Sprintf("this %s is never closed", last.text)}
	}
	return nil
}

// rewriter copies tokens to the output and rewrites on the way. It works level by level of precedence, and looks into
// brackets when it copies them.
type rewriter struct {
	t      *Translation
	src    []rune
	tokens []token
	out    []rune
	isWord []bool // per token: a word that stands as an operator
	copied int    // code points of the source that were copied or dropped
}

// emit writes invented text that stands for a place of the source.
func (w *rewriter) emit(s string, at int) {
	for _, r := range s {
		w.out = append(w.out, r)
		w.t.origin = append(w.t.origin, at)
	}
}

// gap copies the white space and comments before token i.
func (w *rewriter) gap(i int) {
	for ; w.copied < w.tokens[i].start; w.copied++ {
		w.out = append(w.out, w.src[w.copied])
		w.t.origin = append(w.t.origin, w.copied)
	}
}

// copy writes token i as it is.
func (w *rewriter) copy(i int) {
	w.gap(i)
	for ; w.copied < w.tokens[i].end; w.copied++ {
		w.out = append(w.out, w.src[w.copied])
		w.t.origin = append(w.t.origin, w.copied)
	}
}

// replace writes text in place of tokens [i,j).
func (w *rewriter) replace(i, j int, text string) {
	w.gap(i)
	w.emit(text, w.tokens[i].start)
	w.copied = w.tokens[j-1].end
}

// drop leaves out token i and the white space before it.
func (w *rewriter) drop(i int) { w.copied = w.tokens[i].end }

func (w *rewriter) changed(from, to, why string) {
	w.t.Changes = append(w.t.Changes, Change{From: from, To: to, Why: why})
}

func (w *rewriter) warn(format string, args ...any) {
	w.t.Warnings = append(w.t.Warnings, fmt.Sprintf(format, args...))
}

// next returns the index after token i, or after its closing bracket.
func (w *rewriter) next(i int) int {
	if m := w.tokens[i].match; m > i {
		return m + 1
	}
	return i + 1
}

// split returns the indices in [i,j) at bracket depth 0 where is says true.
func (w *rewriter) split(i, j int, is func(int) bool) []int {
	var at []int
	for k := i; k < j; k = w.next(k) {
		if is(k) {
			at = append(at, k)
		}
	}
	return at
}

func (w *rewriter) kind(i int) int {
	if i < 0 || i >= len(w.tokens) {
		return antlr.TokenEOF
	}
	return w.tokens[i].kind
}

// ends reports whether token i can be the end of an operand.
func (w *rewriter) ends(i int) bool {
	switch w.kind(i) {
	case gen.CELLexerRPAREN, gen.CELLexerRPRACKET, gen.CELLexerRBRACE, gen.CELLexerIDENTIFIER, gen.CELLexerESC_IDENTIFIER, gen.CELLexerSTRING,
		gen.CELLexerBYTES, gen.CELLexerNUM_INT, gen.CELLexerNUM_UINT, gen.CELLexerNUM_FLOAT, gen.CELLexerCEL_TRUE, gen.CELLexerCEL_FALSE, gen.CELLexerNUL:
		return true
	}
	return false
}

// starts reports whether token i can be the start of an operand.
func (w *rewriter) starts(i int) bool {
	switch w.kind(i) {
	case gen.CELLexerLPAREN, gen.CELLexerLBRACKET, gen.CELLexerLBRACE, gen.CELLexerMINUS, gen.CELLexerEXCLAM, gen.CELLexerDOT:
		return true
	case gen.CELLexerRPAREN, gen.CELLexerRPRACKET, gen.CELLexerRBRACE:
		return false
	}
	return w.ends(i)
}

// markWords finds the words that stand as operators, from left to right, as each decides what the next may be. A word
// is one between the end of an operand and the start of one. No CEL text has an identifier there, so nothing is ambiguous:
// `path == "x and y"` and `.contains(` stay.
func (w *rewriter) markWords() {
	w.isWord = make([]bool, len(w.tokens))
	for i := range w.tokens {
		if w.kind(i) != gen.CELLexerIDENTIFIER || w.kind(i-1) == gen.CELLexerDOT {
			continue
		}
		after := w.ends(i-1) && !w.isWord[i-1]
		switch w.tokens[i].text {
		case "and", "or", "contains", "startsWith", "endsWith", "matches":
			w.isWord[i] = after && w.starts(i+1) && w.kind(i+1) != gen.CELLexerDOT
		case "not":
			switch w.kind(i + 1) {
			case gen.CELLexerMINUS, gen.CELLexerLBRACKET, gen.CELLexerLBRACE, gen.CELLexerDOT:
			default:
				w.isWord[i] = !after && w.starts(i+1)
			}
		}
	}
}

// word reports whether token i is one of the words, standing as an operator.
func (w *rewriter) word(i int, words ...string) bool {
	return i < len(w.isWord) && w.isWord[i] && slices.Contains(words, w.tokens[i].text)
}

// list rewrites what stands between separators: arguments, elements, branches of a conditional.
func (w *rewriter) list(i, j int) {
	for _, k := range w.split(i, j, func(k int) bool {
		switch w.kind(k) {
		case gen.CELLexerCOMMA, gen.CELLexerQUESTIONMARK, gen.CELLexerCOLON:
			return true
		}
		return false
	}) {
		w.or(i, k)
		w.copy(k)
		i = k + 1
	}
	w.or(i, j)
}

// or rewrites a || b || c. Where and, or are words and both occur, it adds the parentheses that CEL reads.
func (w *rewriter) or(i, j int) {
	if i >= j {
		return
	}
	ors := w.split(i, j, func(k int) bool { return w.kind(k) == gen.CELLexerLOGICAL_OR || w.word(k, "or") })
	ands := w.split(i, j, func(k int) bool { return w.kind(k) == gen.CELLexerLOGICAL_AND || w.word(k, "and") })
	mixed := false
	if len(ors) > 0 && len(ands) > 0 {
		for _, k := range append(append([]int(nil), ors...), ands...) {
			mixed = mixed || w.kind(k) == gen.CELLexerIDENTIFIER
		}
	}
	if mixed {
		w.warn("and binds tighter than or here; the older filter language read such a chain from the right: write parentheses to be sure")
	}
	for n := 0; n <= len(ors); n++ {
		end := j
		if n < len(ors) {
			end = ors[n]
		}
		w.and(i, end, mixed)
		if n < len(ors) {
			w.operator(ors[n], "||")
			i = ors[n] + 1
		}
	}
}

func (w *rewriter) and(i, j int, parenthesise bool) {
	if i >= j {
		return
	}
	ands := w.split(i, j, func(k int) bool { return w.kind(k) == gen.CELLexerLOGICAL_AND || w.word(k, "and") })
	wrap := parenthesise && len(ands) > 0
	if wrap {
		w.gap(i)
		w.emit("(", w.tokens[i].start)
	}
	start := i
	for n := 0; n <= len(ands); n++ {
		end := j
		if n < len(ands) {
			end = ands[n]
		}
		w.negation(start, end)
		if n < len(ands) {
			w.operator(ands[n], "&&")
			start = ands[n] + 1
		}
	}
	if wrap {
		w.emit(")", w.tokens[j-1].end-1)
	}
}

// operator writes && or ||, whichever way it was spelled.
func (w *rewriter) operator(k int, symbol string) {
	if w.tokens[k].text == symbol {
		w.copy(k)
		return
	}
	w.changed(w.tokens[k].text, symbol, "")
	w.replace(k, k+1, symbol)
}

// negation rewrites `not x`, which reaches up to the next and, or.
func (w *rewriter) negation(i, j int) {
	if i >= j {
		return
	}
	if !w.word(i, "not") || i+1 >= j {
		w.relation(i, j)
		return
	}
	w.changed("not", "!", "")
	open, shut := "!(", ")"
	if w.next(i+1) == j { // one name, or brackets already
		open, shut = "!", ""
	}
	w.replace(i, i+1, open)
	w.copied = w.tokens[i+1].start
	w.negation(i+1, j)
	w.emit(shut, w.tokens[j-1].end-1)
}

// relation rewrites `a contains b` and `a == r"…"`, whose operands reach to the next operator of the same strength.
func (w *rewriter) relation(i, j int) {
	marks := w.split(i, j, func(k int) bool { return w.compares(k) })
	if len(marks) == 0 {
		w.operands(i, j)
		return
	}
	k := marks[0]
	whole := k > i && w.ends(k-1) && k+1 < j
	switch {
	case !whole:
		w.chain(i, j, marks)
	case len(marks) == 1 && w.word(k, "contains", "startsWith", "endsWith", "matches"):
		name := w.tokens[k].text
		w.changed(name, "."+name+"(…)", "")
		w.member(i, k, j, name, false)
	case len(marks) == 1 && w.regex(k, j):
		w.changed(w.text(k, j), ".matches(…)", "a regular expression in the older language, a raw string in CEL")
		w.warn("%s is read as a regular expression, as in the older filter language; to compare with the text itself, write it without the r", w.tokens[k+1].text)
		w.member(i, k, j, "matches", w.kind(k) == gen.CELLexerNOT_EQUALS)
	default:
		w.chain(i, j, marks)
	}
}

// chain copies operands and the operators between them; whether that is legal is for CEL to say.
func (w *rewriter) chain(i, j int, operators []int) {
	for _, k := range operators {
		w.operands(i, k)
		w.copy(k)
		i = k + 1
	}
	w.operands(i, j)
}

// member writes i..k as the target of a method and k+1..j as its argument.
func (w *rewriter) member(i, k, j int, method string, negate bool) {
	for ; i < k && w.kind(i) == gen.CELLexerEXCLAM; i++ {
		w.copy(i)
	}
	w.gap(i)
	if negate {
		w.emit("!", w.tokens[i].start)
	}
	single := w.primary(i, k)
	if !single {
		w.emit("(", w.tokens[i].start)
	}
	w.operands(i, k)
	if !single {
		w.emit(")", w.tokens[k-1].end-1)
	}
	w.emit("."+method+"(", w.tokens[k].start)
	w.drop(k)
	if k+1 < j {
		w.copied = w.tokens[k+1].start
	}
	w.operands(k+1, j)
	w.emit(")", w.tokens[j-1].end-1)
}

// compares reports whether token k is an operator of the strength of ==.
func (w *rewriter) compares(k int) bool {
	switch w.kind(k) {
	case gen.CELLexerEQUALS, gen.CELLexerNOT_EQUALS, gen.CELLexerLESS, gen.CELLexerLESS_EQUALS, gen.CELLexerGREATER, gen.CELLexerGREATER_EQUALS, gen.CELLexerIN:
		return true
	}
	return w.word(k, "contains", "startsWith", "endsWith", "matches")
}

// regex reports whether token k compares with a raw string that ends at j.
func (w *rewriter) regex(k, j int) bool {
	if w.kind(k) != gen.CELLexerEQUALS && w.kind(k) != gen.CELLexerNOT_EQUALS || k+2 != j || w.kind(k+1) != gen.CELLexerSTRING {
		return false
	}
	return strings.HasPrefix(w.tokens[k+1].text, "r") || strings.HasPrefix(w.tokens[k+1].text, "R")
}

// primary reports whether tokens [i,j) are one operand to which a method can be appended.
func (w *rewriter) primary(i, j int) bool {
	for k := i; k < j; k = w.next(k) {
		switch w.kind(k) {
		case gen.CELLexerPLUS, gen.CELLexerMINUS, gen.CELLexerSTAR, gen.CELLexerSLASH, gen.CELLexerPERCENT, gen.CELLexerNUM_INT, gen.CELLexerNUM_FLOAT, gen.CELLexerNUM_UINT:
			return false
		}
	}
	return i < j
}

// operands copies tokens, looks into brackets and replaces aliases.
func (w *rewriter) operands(i, j int) {
	for k := i; k < j; {
		switch {
		case w.tokens[k].match > k:
			w.copy(k)
			w.list(k+1, w.tokens[k].match)
			w.copy(w.tokens[k].match)
			k = w.tokens[k].match + 1
		case w.kind(k) == gen.CELLexerIDENTIFIER && w.kind(k-1) != gen.CELLexerDOT:
			k = w.name(k, j)
		default:
			w.copy(k)
			k++
		}
	}
}

// name copies a dotted name, or writes the field that it is an alias of. It returns the index after what it wrote.
func (w *rewriter) name(i, j int) int {
	end := i + 1
	for end+1 < j && w.kind(end) == gen.CELLexerDOT && w.kind(end+1) == gen.CELLexerIDENTIFIER {
		end += 2
	}
	stop := end
	if w.kind(end) == gen.CELLexerLPAREN { // the last word is a function
		stop = end - 2
	}
	if stop > i {
		if f := w.alias(i, stop); f != nil {
			why := ""
			if f.Unit != "" {
				why = f.Name + " is in " + f.Unit
			}
			w.changed(w.text(i, stop), f.Name, why)
			w.replace(i, stop, f.Name)
			i = stop
		}
	}
	for ; i < end; i++ {
		w.copy(i)
	}
	return end
}

// alias is the field that tokens [i,j) are an alias of, as a whole, or nil. An index belongs to the name only where the
// field can be indexed.
func (w *rewriter) alias(i, j int) *Field {
	name := w.text(i, j)
	if table().byName[name] != nil {
		return nil
	}
	f := table().byAlias[name]
	if f != nil && w.kind(j) == gen.CELLexerLBRACKET && f.Type.Kind() != types.MapKind && f.Type.Kind() != types.ListKind {
		return nil
	}
	return f
}

// text is tokens [i,j) without white space.
func (w *rewriter) text(i, j int) string {
	var b strings.Builder
	for ; i < j; i++ {
		b.WriteString(w.tokens[i].text)
	}
	return b.String()
}

// Check parses, prepares and checks the text in an environment that extends [RowEnv]. The error is an [*Error] in the
// source, with a suggestion where a name is unknown.
func (t *Translation) Check(env *cel.Env) (*cel.Ast, error) {
	parsed, issues := env.Parse(t.Text)
	if issues.Err() != nil {
		return nil, t.Explain(issues)
	}
	if err := Prepare(parsed); err != nil {
		return nil, t.place(err)
	}
	checked, issues := Check(env, parsed)
	if issues.Err() != nil {
		return nil, t.Explain(issues)
	}
	return checked, nil
}

// Package filter is KFL, the filter language, and the one field table behind it.
//
// KFL is CEL with Kubeshark's variables: a boolean expression over one [Row], which is a call or a connection. [Compile]
// turns text into a [Filter]; [Filter.Match] asks it about a row. Older spellings (`http and response.status == 500`) are
// rewritten first, and [Filter.Rewritten] says into what. [Fields] is the table: CEL's variables, completion, hover, the
// field reference and the Parquet columns all come from it, and no second list exists.
//
// Checks are the same language one level up. They take the same variables from [RowEnv] and evaluate per row through an
// [Activation] in [ModeExpect], where the response of an unanswered call, and the request of a call of which only the answer was captured,
// are CEL's unknown instead of a default.
//
// Stable, and built on by other rooms: [Row], [Field], [Fields], [Lookup], [IsOptional], [Compile], [Filter], [Error],
// [Mode], [Activation], [RowEnv], [Translate], [Translation.Check], [Translation.Explain], [Prepare], [Program], [Explain],
// [Nearest] and [Doc]. The table itself grows: protocols that are not dissected yet have their variables already, constant
// and marked [Field.Stub].
//
// The order of files is the order of work: translate.go (older spellings to CEL, on tokens), issues.go (CEL's complaints to
// an [Error] in the typed text), prepare.go (missing keys, has and now, on the parsed tree), env.go (checking and planning),
// activation.go (rows to values), shortcut.go (speed), could.go (partial evaluation).
package filter

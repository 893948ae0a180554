// Package translate turns POST /translate, as clients speak it, into what a
// replica speaks, and the replica's answer back into what clients expect.
//
//	client                    adapter            replica
//	{"text","target_lang",…}  Parse → Validate → Encode  → POST /v1/completions …
//	{"translation",…}        ←        Decode            ← {"choices":[…]}
//
// It is pure: it reads and builds bytes and does no I/O, so a request can be
// checked before anything is held or launched, and encoded again for every try.
//
// Parse and Validate run at arrival: what they refuse never wakes a replica.
// Their errors, and those of Decode that are the client's fault, are *FieldError:
// status 400, naming the field of the body and what is allowed. What the replica
// got wrong is an *AnswerError: status 502. Neither error carries the text of the
// request.
package translate

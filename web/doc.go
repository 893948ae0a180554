// Package web is the control plane: the JSON API under /api/v1, one stream of
// server-sent events, and the pages for operators. echo is used here and
// nowhere else.
//
// It decides nothing and keeps nothing. What it shows comes from Services (the
// scaler's published state) and policies.Store; what an operator does goes back
// through the same two. Any number of processes may serve it.
//
// Routes. One table (routes.go) names every route with its handler, its body
// limit and, for the API, its description; the router, the body limits and
// openapi.json are all made from it, so that none can drift from the others.
//
// Pages. Every page is rendered on the server and is useful without JavaScript:
// filters, sorting, editing a policy, comparing versions and operating a service
// are links and forms. The scripts add what HTML cannot: when the stream says
// that something moved, the page is fetched again and the regions marked
// data-live are brought up to date in place. So there is one rendering of each
// thing, in Go. Only the chart draws from JSON.
//
// The stream. Run reads what changed, compares it with what was last sent, and
// publishes the difference to all readers. Events carry an id of the form
// EPOCH-SEQUENCE; a reader that comes back with Last-Event-ID gets what it
// missed, or "reset" if that is no longer in the ring or belongs to another
// process, and then reads everything again. A reader that does not keep up is
// dropped rather than waited for.
//
// Failure. When the store does not answer, pages show the last known picture and
// say how old it is; the API answers 503 store-unavailable, because a program
// must not mistake old for new. A policy is changed only by compare-and-set: a
// lost race is 412 in the API and a page with both changes side by side in the
// UI, and nobody's text is lost.
//
// Safety. No inline script or style (CSP default-src 'self'), no framing, no
// cross-origin writes, no Host but IP addresses, localhost and the configured
// names (a rebound DNS name must not reach a listener that trusts loopback), a
// limit on every body.
package web

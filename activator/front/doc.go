// Package front is what the data plane's listener bears of its clients before
// and beside their requests: how many connections there may be, how slowly a
// client may send and read, and what becomes of a client that is too much.
//
// Guarantees: there are never more than Config.Max connections; when there are so
// many, those that have been without a request for longest are closed first, whether
// they wait between two requests or have never sent anything; only when every
// connection has been at work for as long as a new one may wait is that one
// refused, with an answer that says so. A client is waited for as long as it keeps
// its Pace: for Grace at a stretch, and beyond that for as long as its bytes take
// at Rate. So neither a byte now and then nor a window that never opens holds
// memory, a slot or a connection for ever.
//
// It fails by closing connections, never by waiting: a connection that is closed
// while idle is what every HTTP client has to expect.
package front

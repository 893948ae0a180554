// Package archtest holds the house rules that the compiler does not know: which
// package may import which, and where a module may be used at all. It is all
// tests.
package archtest

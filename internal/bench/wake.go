package bench

import "context"

// Wake measures.
func Wake(ctx context.Context, cfg Config) (Result, error) {
	return Result{Name: "wake", Skipped: "not yet"}, nil
}

// Apertium measures.
func Apertium(ctx context.Context, cfg Config) (Result, error) {
	return Result{Name: "apertium", Skipped: "not yet"}, nil
}

package projection

import "context"

// FillAll does the first phase alone, as a process that is killed after it.
func (r *Rebuild) FillAll(ctx context.Context) error { return r.fill(ctx) }

package billingstack

// SetChunk changes the number of rows that Each reads at a time, and returns the previous number.
func SetChunk(n int) (previous int) {
	previous, chunk = chunk, n
	return previous
}

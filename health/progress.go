package health

// Progress tells how far a snapshot has come.
type Progress struct {
	Table string // being copied now
	Rows  int64  // copied so far
	Total int64  // estimate; 0 if unknown
	Bytes int64  // received so far, of rows or of a file
	Done  bool
}

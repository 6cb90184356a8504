package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ddb-project/ddb"
)

const maxLoad = 1000 // writes a second

var tables = []string{
	`CREATE TABLE students (
		id    INTEGER PRIMARY KEY,
		name  TEXT NOT NULL,
		born  INTEGER)`,
	`CREATE TABLE courses (
		id    INTEGER PRIMARY KEY,
		title TEXT NOT NULL UNIQUE,
		seats INTEGER NOT NULL CHECK (seats > 0))`,
	`CREATE TABLE enrolments (
		student_id INTEGER NOT NULL REFERENCES students (id) ON DELETE CASCADE,
		course_id  INTEGER NOT NULL REFERENCES courses (id) ON DELETE CASCADE,
		grade      INTEGER CHECK (grade BETWEEN 1 AND 10),
		PRIMARY KEY (student_id, course_id))`,
}

var (
	names = strings.Fields("Ada Bram Chidi Dina Emre Fleur Goran Hana Imani Jonas Kofi Lena Mees Nadia Omar Priya Quinn Rosa Sven Tara Umar Vera Wout Xenia Yara Zeno")

	courses = []string{"Set theory", "Relational algebra", "Operating systems", "Networks", "Compilers", "Statistics", "Ethics", "Music"}
)

// perStudent is how many courses each student takes.
const perStudent = 3

// fill makes the sample tables and rows, unless they are there.
func fill(ctx context.Context, c *ddb.Cluster) error {
	var n int
	if err := c.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE name = 'students'").Scan(&n); err != nil {
		return fmt.Errorf("sample data: %w", err)
	}
	if n > 0 {
		return nil
	}
	for _, t := range tables {
		if _, err := c.ExecContext(ctx, t); err != nil {
			return fmt.Errorf("sample data: %w", err)
		}
	}
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("sample data: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	exec := func(query string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, query, args...)
		}
	}
	for i, title := range courses {
		exec("INSERT INTO courses (id, title, seats) VALUES (?, ?, ?)", i+1, title, 10+5*(i%3))
	}
	for i, name := range names {
		exec("INSERT INTO students (id, name, born) VALUES (?, ?, ?)", i+1, name, 1999+i%7)
		for k := range perStudent {
			exec("INSERT INTO enrolments VALUES (?, ?, ?)", i+1, (i+3*k)%len(courses)+1, 5+(i+k)%6)
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return fmt.Errorf("sample data: %w", err)
	}
	return nil
}

// enrol changes grades at random, rate times a second, and reads as often, until ctx ends.
func enrol(ctx context.Context, c *ddb.Cluster, rate int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		student, course := 1+rand.IntN(len(names)), 1+rand.IntN(len(courses))
		// The read comes first: right behind the write it would go to the master, the only node
		// that is sure to have it.
		var n int
		err := c.QueryRowContext(ctx, "SELECT count(*) FROM enrolments WHERE course_id = ?", course).Scan(&n)
		if err == nil {
			_, err = c.ExecContext(ctx, `INSERT INTO enrolments SELECT s.id, c.id, ? FROM students s, courses c WHERE s.id = ? AND c.id = ?
				ON CONFLICT DO UPDATE SET grade = excluded.grade`, 1+rand.IntN(10), student, course)
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("load: %w", err)
		}
	}
}

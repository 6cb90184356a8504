package ddb_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mostModules is how many modules "go list -m all" names in a program that imports ddb and a transport, itself and ddb included.
// It only falls: what only tests or examples need belongs into the go.mod of these.
const mostModules = 52

// A program that imports ddb gets few modules by it.
func TestFewModules(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	program := t.TempDir()
	mod := "module program\n\ngo 1.26.0\n\nreplace " + modulePath + " => " + root + "\n"
	// A module states what it is built from, and so will the program's go.mod when it is tidy.
	for _, m := range goList(t, root, "-deps", "-f", "{{with .Module}}{{.Path}} {{or .Version `v0.0.0`}}{{end}}", ".", "./transport/tcp", "./dialect/mysql", "./dialect/sqlite") {
		mod += "require " + m + "\n"
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"go.mod": []byte(mod), "go.sum": sums} {
		if err := os.WriteFile(filepath.Join(program, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := goList(t, program, "-mod=mod", "-m", "all")
	t.Logf("%d modules: %s", len(all), strings.Join(all, ", "))
	if len(all) > mostModules {
		t.Errorf("a program that imports ddb gets %d modules, want at most %d", len(all), mostModules)
	}
	if !slices.ContainsFunc(all, func(m string) bool { return strings.HasPrefix(m, "modernc.org/sqlite ") }) {
		t.Error("the driver of SQLite is not among them: the list is not that of a program")
	}
}

// A program that uses one kind of database links no driver of another, nor registers the name of one.
func TestOneDialectLinksOneDriver(t *testing.T) {
	for used, c := range map[string]struct{ own, other string }{
		"./dialect/mysql":  {mysqlModule, sqliteModule},
		"./dialect/sqlite": {sqliteModule, mysqlModule},
	} {
		packages := goList(t, ".", "-deps", ".", "./transport/tcp", "./console", used)
		in := func(module string) bool {
			return slices.ContainsFunc(packages, func(p string) bool { return inModules([]string{module}, p) })
		}
		if !in(c.own) || in(c.other) {
			t.Errorf("a program with %s: its own driver is linked: %v, that of the other: %v", used, in(c.own), in(c.other))
		}
	}
}

// goList returns the distinct lines of go list, run in the folder's module outside of the workspace.
func goList(t *testing.T, folder string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	return slices.DeleteFunc(slices.Compact(lines), func(l string) bool { return l == "" })
}

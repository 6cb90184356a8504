package ddb_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// testsOf returns the names of the tests, fuzz targets and examples of a folder's package.
func testsOf(t *testing.T, folder string) map[string]bool {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	names := make(map[string]bool)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}

var namedTest = regexp.MustCompile("^`([a-z/]+)\\.((?:Test|Fuzz|Example)\\w+)`$")

// Each threat that docs/security.md lists names at least one test, and each test that it names is there.
func TestSecurityPage(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "\n| threat | shown by |\n| --- | --- |\n")
	require.True(t, found)
	known := make(map[string]map[string]bool)
	lines := strings.Split(strings.TrimSpace(table), "\n")
	require.Greater(t, len(lines), 20)
	for _, line := range lines {
		cells := strings.Split(line, "|")
		require.Len(t, cells, 4, line)
		for name := range strings.SplitSeq(strings.TrimSpace(cells[2]), ", ") {
			m := namedTest.FindStringSubmatch(name)
			require.NotNil(t, m, "%s: %q is no name of a test, as `console.TestX`", line, name)
			folder := m[1]
			if folder == "ddb" {
				folder = "."
			}
			if known[folder] == nil {
				known[folder] = testsOf(t, folder)
			}
			require.True(t, known[folder][m[2]], "%s: there is no such test in %s", name, folder)
		}
	}
}

// The Go of docs/security.md is that of the package's examples, which compile and run.
func TestSecurityPageCompiles(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	require.NoError(t, err)
	examples, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	flat := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	require.NotEmpty(t, blocks)
	for _, b := range blocks {
		require.Contains(t, flat(string(examples)), flat(b[1]))
	}
}

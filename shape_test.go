package ddb_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// rootLines is how many lines the files of the root package may have, tests aside. The number only falls: the root is to be the public
// surface and the wiring, about 1,500 lines, and what is a part goes to a package of its own (docs/decisions/8-packages.md).
const rootLines = 1_600

func TestRootLines(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(text, []byte("\n"))
	}
	switch {
	case lines > rootLines:
		t.Errorf("the root package has %d lines, %d more than it may: does what was added belong to a part?", lines, lines-rootLines)
	case lines < rootLines-300:
		t.Errorf("the root package has %d lines: well done; lower rootLines, so that it stays so", lines)
	}
}

// mayEmbed lists the structs that embed a struct of this module's: a type with a few methods of its own more than the one
// that it embeds, both of the same part. A part never embeds another: what it has of that stands in a field, and each
// mutable thing has one owner that the compiler knows.
var mayEmbed = map[string]string{
	"bufferedRows": "streamedRows",
	"Conn":         "connState",
	"pinnedTx":     "plainTx",
	"job":          "request",
	"result":       "done",
	"lexer":        "reading",
}

func TestNoPartEmbedsAnother(t *testing.T) {
	type embedding struct{ pkg, outer, inner string }
	structs := map[string]bool{} // "package.Type"
	var found []embedding
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipDir(name)
		}
		pkg := path.Dir(filepath.ToSlash(name))
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || pkg != "." && !strings.HasPrefix(pkg, "internal/") && !strings.HasPrefix(pkg, "journal") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			structs[pkg+"."+spec.Name.Name] = true
			for _, f := range st.Fields.List {
				inner := f.Type
				if star, ok := inner.(*ast.StarExpr); ok {
					inner = star.X
				}
				if id, ok := inner.(*ast.Ident); ok && len(f.Names) == 0 {
					found = append(found, embedding{pkg, spec.Name.Name, id.Name})
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range found {
		if structs[e.pkg+"."+e.inner] && mayEmbed[e.outer] != e.inner {
			t.Errorf("package %s: %s embeds %s: give it a field of that type, or what it needs of it", e.pkg, e.outer, e.inner)
		}
	}
}

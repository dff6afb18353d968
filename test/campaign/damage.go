package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
)

// What is done to files. Each takes the path of one and that of another.
var damages = []struct {
	name string
	do   func(path, other string) error
}{
	{"flip", func(path, _ string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[rand.IntN(len(data))] ^= 1 << rand.IntN(8)
		return overwrite(path, data)
	}},
	{"cut", func(path, _ string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, rand.Int64N(info.Size()))
	}},
	{"empty", func(path, _ string) error { return os.Truncate(path, 0) }},
	{"swap", func(path, other string) error {
		for _, move := range [][2]string{{path, path + ".x"}, {other, path}, {path + ".x", other}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				return err
			}
		}
		return nil
	}},
	{"copy", func(path, other string) error {
		data, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		return overwrite(path, data)
	}},
	{"lengthen", func(path, _ string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("more")
		return err
	}},
	{"disguise", func(path, _ string) error { // as it was, but for a bit
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 1
		if err := overwrite(path, data); err != nil {
			return err
		}
		return os.Chtimes(path, info.ModTime(), info.ModTime())
	}},
	{"delete", func(path, _ string) error { return os.Remove(path) }},
}

// overwrite changes the bytes of the file that is there.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, 0)
	return err
}

// damage changes the files of blobs, while berth runs and while it does not, and
// looks at how they are served, and healed.
func (c *campaign) damage(rounds int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "damage/app", common: [][]byte{randomBytes(1000)}}
	for i := range rounds {
		if c.ctx.Err() != nil {
			break
		}
		if err := c.damageOne(s, p, i); err != nil {
			return err
		}
		c.report.Rounds++
	}
	return c.checkAll(s)
}

// damageOne is one round: two blobs are pushed, and one or both are damaged.
func (c *campaign) damageOne(s *server, p *pusher, round int) error {
	d := damages[round%len(damages)]
	stopped := round/len(damages)%2 == 1
	sizes := []int{100, 40_000, 3 << 20}
	size := sizes[rand.IntN(len(sizes))]
	pair := [][]byte{randomBytes(size), randomBytes(size)}
	for _, data := range pair {
		if p.pushBlob(p.repo, data) != acknowledged {
			return fmt.Errorf("push: not acknowledged")
		}
	}
	paths, err := filesOf(s.data, pair)
	if err != nil {
		return err
	}
	if rand.IntN(2) == 0 { // what is remembered of a blob that was read
		if _, _, err := p.lookBlob(p.repo, digestOf(pair[0])); err != nil {
			return err
		}
	}
	if stopped {
		s.kill()
	}
	if err := d.do(paths[0], paths[1]); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	if stopped {
		if err := s.start(); err != nil {
			return err
		}
	}
	for _, data := range pair {
		if err := c.lookDamaged(p, d.name, data); err != nil {
			return err
		}
	}
	for _, data := range pair {
		if p.pushBlob(p.repo, data) != acknowledged {
			c.report.broken("%s: pushed again, and not taken", d.name)
		}
		if value, wrong, err := p.lookBlob(p.repo, digestOf(data)); err != nil || value == "" {
			c.report.broken("%s: pushed again, and not whole: %s %v", d.name, wrong, err)
		}
	}
	return nil
}

// lookDamaged reads a blob that may be damaged, whole and in part, twice. A whole
// answer must have the right bytes, and what was found out must be remembered.
func (c *campaign) lookDamaged(p *pusher, damage string, data []byte) error {
	path := "/v2/" + p.repo + "/blobs/" + digestOf(data)
	known := false
	for range 2 {
		whole, err := p.do("GET", path, nil)
		switch {
		case err != nil: // broken off: the client knows that it has not all
			known = true
		case whole.status == http.StatusOK && digestOf(whole.body) != digestOf(data):
			c.report.broken("%s: a whole 200 with %d wrong bytes", damage, len(whole.body))
		case whole.status == http.StatusOK && known:
			c.report.broken("%s: found to be damaged, and served", damage)
		case whole.status == http.StatusNotFound:
			known = true
		case whole.status != http.StatusOK:
			c.report.broken("%s: status %d", damage, whole.status)
		}
		part, err := p.do("GET", path, nil, "Range", "bytes=0-49")
		if err == nil && part.status == http.StatusPartialContent && string(part.body) != string(data[:50]) {
			c.report.broken("%s: a range with wrong bytes", damage)
		}
		if err == nil && part.status == http.StatusPartialContent && known {
			c.report.broken("%s: found to be damaged, and a range was served", damage)
		}
	}
	head, err := p.do("HEAD", path, nil)
	if err != nil {
		return err
	}
	if known != (head.status == http.StatusNotFound) {
		c.report.broken("%s: damaged is %v, and HEAD says %d", damage, known, head.status)
	}
	return nil
}

// filesOf returns the paths of the files that hold the blobs.
func filesOf(dir string, blobs [][]byte) ([]string, error) {
	paths := make([]string, len(blobs))
	missing := len(blobs)
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || missing == 0 {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() != int64(len(blobs[0])) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, b := range blobs {
			if digestOf(b) == digestOf(data) {
				paths[i] = path
				missing--
			}
		}
		return nil
	})
	if err == nil && missing > 0 {
		err = fmt.Errorf("%d of %d blobs have no file", missing, len(blobs))
	}
	return paths, err
}

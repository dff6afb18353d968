package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/blob"
)

// A fake is a Bucket in memory. It fails the calls that fail says.
type fake struct {
	mu      sync.Mutex
	objects map[string]fakeObject
	made    int
	fail    func(call, name string) error
	// cut ends the bodies of Get after so many bytes, when it is not 0.
	cut int
}

type fakeObject struct {
	data  []byte
	stamp string
	time  time.Time
}

func newFake() *fake {
	return &fake{objects: make(map[string]fakeObject), fail: func(string, string) error { return nil }}
}

func (f *fake) begin(ctx context.Context, call, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	return fail(call, name)
}

func (f *fake) Put(ctx context.Context, name string, data []byte) (blob.Info, error) {
	if err := f.begin(ctx, "put", name); err != nil {
		return blob.Info{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[name]; ok {
		return blob.Info{}, ErrExists
	}
	f.made++
	o := fakeObject{bytes.Clone(data), fmt.Sprint(f.made), time.Now()}
	f.objects[name] = o
	return blob.Info{Size: int64(len(data)), Stamp: o.stamp}, nil
}

func (f *fake) object(name string) (fakeObject, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.objects[name]
	if !ok {
		return o, blob.ErrNotExist
	}
	return o, nil
}

func (f *fake) Stat(ctx context.Context, name string) (blob.Info, error) {
	if err := f.begin(ctx, "stat", name); err != nil {
		return blob.Info{}, err
	}
	o, err := f.object(name)
	return blob.Info{Size: int64(len(o.data)), Stamp: o.stamp}, err
}

func (f *fake) Get(ctx context.Context, name, stamp string, off, n int64) (io.ReadCloser, error) {
	if err := f.begin(ctx, "get", name); err != nil {
		return nil, err
	}
	o, err := f.object(name)
	if err != nil {
		return nil, err
	}
	if stamp != "" && stamp != o.stamp {
		return nil, ErrChanged
	}
	if f.cut > 0 {
		n = min(n, int64(f.cut))
	}
	return io.NopCloser(bytes.NewReader(o.data[off : off+n])), nil
}

func (f *fake) Delete(ctx context.Context, name string) error {
	if err := f.begin(ctx, "delete", name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, name)
	return nil
}

// List takes two names at a time, and begins before from.
func (f *fake) List(ctx context.Context, prefix, _ string, _ int, yield func(blob.Entry) bool) error {
	last := ""
	for {
		if err := f.begin(ctx, "list", prefix); err != nil {
			return err
		}
		var page []blob.Entry
		f.mu.Lock()
		for _, name := range slices.Sorted(maps.Keys(f.objects)) {
			if o := f.objects[name]; name > last && strings.HasPrefix(name, prefix) && len(page) < 2 {
				page = append(page, blob.Entry{Key: name, Size: int64(len(o.data)), ModTime: o.time})
			}
		}
		f.mu.Unlock()
		for _, e := range page {
			if last = e.Key; !yield(e) {
				return nil
			}
		}
		if len(page) == 0 {
			return nil
		}
	}
}

func (f *fake) URL(context.Context, string, time.Duration) (string, error) { return "", nil }

func (f *fake) Assemble(ctx context.Context, name string, state []byte) (Assembly, error) {
	a := &fakeAssembly{fake: f, name: name}
	if err := f.begin(ctx, "assemble", name); err != nil {
		return nil, err
	}
	if state != nil {
		if err := json.Unmarshal(state, &a.parts); err != nil {
			return nil, blob.ErrStale
		}
	}
	return a, nil
}

// A fakeAssembly has its parts in its state.
type fakeAssembly struct {
	fake  *fake
	name  string
	parts [][]byte
}

func (a *fakeAssembly) Add(ctx context.Context, part []byte) error {
	if err := a.fake.begin(ctx, "add", a.name); err != nil {
		return err
	}
	a.parts = append(a.parts, bytes.Clone(part))
	return nil
}

func (a *fakeAssembly) State() ([]byte, error) { return json.Marshal(a.parts) }

func (a *fakeAssembly) Finish(ctx context.Context, last []byte) (blob.Info, error) {
	if err := a.fake.begin(ctx, "finish", a.name); err != nil {
		return blob.Info{}, err
	}
	return a.fake.Put(ctx, a.name, append(bytes.Join(a.parts, nil), last...))
}

func (a *fakeAssembly) Drop(ctx context.Context) error {
	return a.fake.begin(ctx, "drop", a.name)
}

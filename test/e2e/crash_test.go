package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestCrash kills the server while images are pushed to it, again and again:
// what it acknowledged must be there afterwards, whole, and what is there must
// be whole too.
func TestCrash(t *testing.T) {
	const rounds, pushers = 6, 3
	s := serve(t, "team.yml")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	acknowledged := make(map[string]image) // by tag
	tried := make(map[string]image)
	random := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		var mu sync.Mutex
		var pushing sync.WaitGroup
		stop := make(chan struct{})
		for p := range pushers {
			pushing.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					tag := fmt.Sprintf("r%d-p%d-%d", round, p, i)
					img := newImage(tag)
					mu.Lock()
					tried[tag] = img
					mu.Unlock()
					resp, err := c.push("team/crash", tag, img)
					if err != nil || resp.status != http.StatusCreated {
						return
					}
					mu.Lock()
					acknowledged[tag] = img
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(200+random.IntN(300)) * time.Millisecond)
		s.kill()
		close(stop)
		pushing.Wait()
		if err := s.restart(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < rounds {
		t.Fatalf("only %d pushes were acknowledged: this shows nothing", len(acknowledged))
	}
	for tag, img := range acknowledged {
		if err := c.pull("team/crash", tag, img); err != nil {
			t.Errorf("lost: %v", err)
		}
	}
	for tag, img := range tried {
		resp := c.do(t, "GET", "/v2/team/crash/manifests/"+tag, nil, nil)
		if resp.status == http.StatusNotFound {
			continue
		}
		if err := c.pull("team/crash", tag, img); err != nil {
			t.Errorf("half there: %v", err)
		}
	}
	t.Logf("%d rounds: %d pushes acknowledged of %d begun", rounds, len(acknowledged), len(tried))
}

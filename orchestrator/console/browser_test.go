package console_test

import "github.com/chromedp/chromedp"

// The method `signIn` opens a page of the console as an operator who has to sign in first.
func (w *world) signIn(path string) []chromedp.Action[chromedp.Void] {
	return []chromedp.Action[chromedp.Void]{
		chromedp.Navigate(w.URL + path), chromedp.WaitVisible(`input[name=user]`), chromedp.SendKeys(`input[name=user]`, "olga"),
		chromedp.SendKeys(`input[name=password]`, "pw\r"),
	}
}

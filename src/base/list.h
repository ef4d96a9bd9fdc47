// List: an intrusive doubly linked list. An object derives from ListNode (one per list it can be
// on, told apart by the Tag); pushing and removing never allocate. A node that is destroyed while
// linked unlinks itself. One thread.
#pragma once

#include <cstddef>

namespace gd2fs {

template <class Tag = void>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }

  bool linked() const { return next_ != nullptr; }
  void unlink() {
    if (next_ == nullptr) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = nullptr;
  }

 private:
  template <class T, class U>
  friend class List;
  ListNode* next_ = nullptr;
  ListNode* prev_ = nullptr;
};

template <class T, class Tag = void>
class List {
  using Node = ListNode<Tag>;

 public:
  List() { head_.next_ = head_.prev_ = &head_; }
  ~List() {
    while (pop_front() != nullptr) {
    }
    head_.next_ = head_.prev_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* front() { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  T* back() { return empty() ? nullptr : static_cast<T*>(head_.prev_); }
  // An object that is on this list (or another with the same Tag) moves.
  void push_back(T& object) {
    static_cast<Node&>(object).unlink();
    insert(object, head_.prev_);
  }
  void push_front(T& object) {
    static_cast<Node&>(object).unlink();
    insert(object, &head_);
  }
  T* pop_front() {
    T* object = front();
    if (object != nullptr) static_cast<Node*>(object)->unlink();
    return object;
  }
  // The one behind `object`, or nullptr at the end.
  T* next(T& object) {
    Node* node = static_cast<Node&>(object).next_;
    return node == &head_ ? nullptr : static_cast<T*>(node);
  }
  size_t count() const {
    size_t n = 0;
    for (const Node* node = head_.next_; node != &head_; node = node->next_) ++n;
    return n;
  }

 private:
  void insert(T& object, Node* after) {
    Node& node = object;
    node.prev_ = after;
    node.next_ = after->next_;
    after->next_->prev_ = &node;
    after->next_ = &node;
  }
  Node head_;
};

}  // namespace gd2fs
